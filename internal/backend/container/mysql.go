package container

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/tlsroute/tlsroute-bench/internal/backend"
)

func init() {
	register(kind{name: backend.MySQL, ports: []string{"3306/tcp"}, plan: mysqlPlan, images: []string{
		"mysql:8.4", "mysql:8", "mysql:8.0", "mysql:9", "mysql:latest", "mariadb:11", "mariadb:11.4", "mariadb:lts", "mariadb:10.11", "mariadb:latest",
		"tlsroute-bench/mariadb:10.11",
	}})
}

func mysqlPlan(spec backend.Spec, r *backend.Running, dir string) (plan, error) {
	r.Access = backend.Access{User: userName, Password: rand.Text(), Database: databaseName}
	files, err := tlsFiles(spec, r, dir)
	if err != nil {
		return plan{}, err
	}
	// One list for MySQL and MariaDB: "loose" is for what only one of them knows.
	args := []string{
		"--skip-name-resolve", "--skip-log-bin", "--local-infile=ON", "--max-allowed-packet=64M", "--performance-schema=OFF", "--innodb-buffer-pool-size=16M",
		"--innodb-flush-log-at-trx-commit=0", "--max-connections=200", "--max-connect-errors=1000000",
		"--loose-mysqlx=OFF", "--loose-mysql-native-password=ON",
	}
	if spec.Durable { // the last one counts
		args = append(args, "--innodb-flush-log-at-trx-commit=1")
	}
	for _, f := range files {
		option := map[string]string{certFile: "--ssl-cert=", keyFile: "--ssl-key=", clientCAFile: "--ssl-ca="}[f.name]
		args = append(args, option+f.ownPath())
	}
	env := map[string]string{}
	for name, value := range map[string]string{
		"ROOT_PASSWORD": rand.Text(), "DATABASE": r.Access.Database, "USER": r.Access.User, "PASSWORD": r.Access.Password,
	} {
		env["MYSQL_"+name], env["MARIADB_"+name] = value, value
	}
	access := r.Access
	return plan{
		files: files, account: "mysql", args: args, env: env,
		probe: func(ctx context.Context, at []string) (about, error) {
			version, err := backend.AskMySQL(ctx, at[0], access, "SELECT VERSION()")
			says := about{"MySQL", version, realServer + ", " + backend.Flushing(spec)}
			if number, rest, ok := strings.Cut(version, "-MariaDB"); ok {
				says.product, says.version = "MariaDB", number+rest
			}
			return says, err
		},
	}, nil
}
