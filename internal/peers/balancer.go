//go:build linux

package main

import "encoding/json"

// The load balancers under comparison end TLS and speak HTTP/1.1 to the sink's http service: make bench-alb. The simulator writes no
// access log here, and neither do the others.

// balancer is the simulator's document (DESIGN.md, section 5).
func (st *stage) balancer(listen string) ([]byte, error) {
	type object map[string]any
	return json.Marshal(object{
		"listeners": []object{{
			"listen": listen, "protocol": "HTTPS", "ssl_policy": "ELBSecurityPolicy-TLS13-1-3-2021-06",
			"certificates": []object{{"cert": st.Cert, "key": st.Key}}, "default": object{"forward": serviceHTTP},
		}},
		"target_groups": []object{{
			"name": serviceHTTP, "protocol": "HTTP", "targets": []string{st.Services[serviceHTTP]}, "health_check": object{"enabled": false},
		}},
		"attributes": object{"idle_timeout.timeout_seconds": 4000},
	})
}

const nginxBalancer = `daemon off;
pid {{.Dir}}/pid;
worker_processes {{.Workers}};
events { worker_connections 16000; }
http {
    access_log off;
    client_body_temp_path {{.Dir}}/body;
    proxy_temp_path {{.Dir}}/proxy;
    fastcgi_temp_path {{.Dir}}/fastcgi;
    uwsgi_temp_path {{.Dir}}/uwsgi;
    scgi_temp_path {{.Dir}}/scgi;
    keepalive_requests 1000000000;
    map $http_upgrade $upgrading { default upgrade; "" ""; }
    upstream target { server {{index .Services "http"}}; keepalive 64; keepalive_requests 1000000000; }
    server { listen {{.Pass}}; return 204; }
    server {
        listen {{.Term}} ssl;
        ssl_certificate {{.Cert}};
        ssl_certificate_key {{.Key}};
        ssl_protocols TLSv1.3;
        ssl_session_tickets off;
        ssl_session_cache off;
        ssl_ecdh_curve X25519;
        location / {
            proxy_pass http://target;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $upgrading;
            proxy_read_timeout 10m;
        }
    }
}
`

const haproxyBalancer = `global
    nbthread {{.Workers}}
    maxconn 7500
    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
defaults
    mode http
    option forwardfor
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    timeout tunnel 10m
frontend plain
    bind {{.Pass}}
    http-request return status 204
frontend term
    bind {{.Term}} ssl crt {{.Both}} alpn {{.ALPN}} curves X25519
    default_backend target
backend target
    server one {{index .Services "http"}}
`

// balancerTable is what issue 5 asks of the simulator: within 1.5 times of nginx doing the same, and 60 KiB a tunnel.
func balancerTable(o options) []row {
	arms := []string{ours, haproxyPlain, nginxPlain}
	work := job{Kind: kindRequests, Service: serviceHTTP, Via: viaBalancer, Conns: 16, Warm: o.duration / 5, Duration: o.duration}
	echoes, still := work, work
	echoes.Kind = kindEchoes
	still.Kind, still.Conns, still.Warm = kindIdle, o.tunnels, o.settle
	below := &target{peer: nginxPlain, limit: 1.5}
	above := &target{peer: nginxPlain, limit: 1 / 1.5, atLeast: true}
	return []row{
		{name: "requests", arms: arms, rounds: o.rounds, balancer: true, job: work, figures: []figure{
			{"CPU µs each", cpuPerOp, below}, {"each/s", perSecond, above},
		}},
		{name: "upgraded echoes", arms: arms, rounds: o.rounds, balancer: true, job: echoes, figures: []figure{
			{"CPU µs each", cpuPerOp, below}, {"each/s", perSecond, above},
		}},
		{name: "idle upgraded tunnels", arms: arms, rounds: 1, fresh: true, balancer: true, job: still, figures: []figure{
			{"KiB/tunnel", memory, &target{limit: 60}}, {"fds/tunnel", fds, nil},
		}},
	}
}
