package cli

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/tlsroute/tlsroute-bench/internal/lab"
	"github.com/tlsroute/tlsroute-bench/internal/result"
)

func probeCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "probe",
		Usage:     "find out what a path does to ALPN, and which upgrades cross it",
		ArgsUsage: "ADDR",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "sni", Usage: "server `NAME` to ask for (default: the host of ADDR)"},
			&cli.StringSliceFlag{Name: "alpn", Usage: "`PROTOCOL` to offer (default: tlsroute-probe/1, which our router always confirms)"},
			&cli.StringFlag{Name: "ca", Usage: "PEM bundle `FILE` for outer and inner TLS (default: the system's)"},
			&cli.BoolFlag{Name: "insecure", Usage: "do not verify certificates"},
			&cli.StringFlag{Name: "path", Usage: "`PATH` of the upgrade endpoint (default: /webapi/connectionupgrade)"},
			&cli.StringFlag{Name: "proxy", Usage: "go through the http://, https:// or socks5:// `URL` (default: HTTPS_PROXY, HTTP_PROXY and NO_PROXY decide)"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "text or json"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("probe takes one address, such as lb.example.com:443")
			}
			if f := c.String("format"); f != "text" && f != "json" {
				return usagef("--format %s: want text or json", f)
			}
			roots, err := caBundle(c.String("ca"))
			if err != nil {
				return err
			}
			proxy, err := proxyURL(c.String("proxy"))
			if err != nil {
				return err
			}
			found, err := lab.Probe(c.Context, lab.ProbeRequest{
				Address: c.Args().First(), SNI: c.String("sni"), ALPN: list(c, "alpn"),
				Roots: roots, Insecure: c.Bool("insecure"), Path: c.String("path"), Proxy: proxy,
			})
			if err != nil {
				return withStatus(result.ExitInconclusive, err)
			}
			if c.String("format") == "json" {
				enc := json.NewEncoder(env.Stdout)
				enc.SetIndent("", "  ")
				err = enc.Encode(found)
			} else {
				err = printProbe(env, found)
			}
			if err == nil && !found.Said() {
				return silent(result.ExitInconclusive)
			}
			return withStatus(result.ExitInconclusive, err)
		},
	}
}

func caBundle(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("--ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, usagef("--ca %s: no PEM certificate in it", file)
	}
	return pool, nil
}

// proxyURL takes --proxy; nil means that there is none.
func proxyURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	proxy, err := url.Parse(text)
	if err != nil || proxy.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, proxy.Scheme) {
		return nil, usagef("--proxy: want a URL such as http://user:password@proxy.example.com:3128 or socks5://127.0.0.1:1080")
	}
	return proxy, nil
}

func printProbe(env Env, p lab.ProbeReport) error {
	negotiated := p.Negotiated
	if negotiated == "" {
		negotiated = "none"
	}
	if _, err := fmt.Fprintf(env.Stdout, "%s\n  class       %s\n  reason      %s\n  negotiated  %s\n", p.Address, p.Class, p.Reason, negotiated); err != nil {
		return err
	}
	for _, u := range p.Upgrades {
		crosses := "crosses"
		if !u.Crosses {
			crosses = "does not cross"
		}
		if _, err := fmt.Fprintf(env.Stdout, "  %-11s %s: %s\n", u.Type, crosses, u.Reason); err != nil {
			return err
		}
	}
	return nil
}
