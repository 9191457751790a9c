//go:build docker

package images

import (
	"crypto/tls"
	"database/sql"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

const mariadbImage = "tlsroute-bench/mariadb:10.11"

// mariadbDSN is for one login; conf is nil for plaintext.
func mariadbDSN(t *testing.T, c *container, user, password, database string, conf *tls.Config) *mysql.Config {
	t.Helper()
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName, config.Net, config.Addr = user, password, database, "tcp", c.address(t)
	config.Timeout, config.ReadTimeout, config.WriteTimeout = 10*time.Second, 10*time.Second, 10*time.Second
	config.TLS, config.Logger = conf, &mysql.NopLogger{}
	return config
}

// askMariaDB logs in and asks for one text.
func askMariaDB(t *testing.T, config *mysql.Config, query string) (answer string, err error) {
	t.Helper()
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return "", err
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.QueryRowContext(t.Context(), query).Scan(&answer)
	return answer, err
}

func mariadbAnswers(t *testing.T, config *mysql.Config, query, want string) {
	t.Helper()
	if got, err := askMariaDB(t, config, query); err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("%s is %q (%v), want %q", query, got, err, want)
	}
}

func mariadbReady(t *testing.T, c *container, config func() *mysql.Config) {
	t.Helper()
	c.eventually(t, "log in", func() error { _, err := askMariaDB(t, config(), "SELECT 1"); return err })
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	_, ca, files := tlsFiles(t)
	in := "/docker-entrypoint-initdb.d/"
	files = append(files, gate, file{"/password", 0o644, []byte(password + "\n")},
		file{in + "1.sql", 0o644, []byte("CREATE TABLE ran (n int AUTO_INCREMENT PRIMARY KEY, script text); INSERT INTO ran (script) VALUES ('sql');")},
		file{in + "2.sql.gz", 0o644, gzipped(t, "INSERT INTO ran (script) VALUES ('gz');")},
		file{in + "3.sh", 0o644, []byte("run_sql \"--database=$DATABASE\" <<<\"INSERT INTO ran (script) VALUES ('sourced')\"\n")})
	// The names of both products, mixed, as they are in the field.
	c := start(t, mariadbImage, "3306", []string{
		"--env", "MYSQL_ROOT_PASSWORD=" + password, "--env", "MARIADB_DATABASE=a_base", "--env", "MYSQL_USER=bench", "--env", "MARIADB_PASSWORD_FILE=/password",
	}, files, "--max-connections=77", "--ssl-cert=/etc/tls/server.crt", "--ssl-key=/etc/tls/server.key", "--ssl-ca=/etc/tls/ca.crt")
	user := func() *mysql.Config { return mariadbDSN(t, c, "bench", password, "a_base", nil) }

	c.atGate(t)
	if _, err := askMariaDB(t, user(), "SELECT 1"); err == nil {
		t.Error("a client got in while the database was initialised")
	}
	c.open(t)
	mariadbReady(t, c, user)

	mariadbAnswers(t, user(), "SELECT VERSION()", "10.11.")
	mariadbAnswers(t, user(), "SELECT @@max_connections", "77")
	mariadbAnswers(t, user(), "SELECT GROUP_CONCAT(script ORDER BY n) FROM ran", "sql,gz,sourced")
	mariadbAnswers(t, user(), "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_version'", "")
	secure := &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1"}
	mariadbAnswers(t, mariadbDSN(t, c, "bench", password, "a_base", secure),
		"SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_version'", "TLSv1.3")
	mariadbAnswers(t, mariadbDSN(t, c, "root", password, "mysql", nil), "SELECT GROUP_CONCAT(CONCAT(User, '@', Host) ORDER BY User, Host) FROM user",
		"bench@%,mariadb.sys@localhost,root@%,root@localhost")

	// The user's rights end at a_base: the _ is no wildcard.
	var refused *mysql.MySQLError
	if _, err := askMariaDB(t, mariadbDSN(t, c, "bench", password, "mysql", nil), "SELECT 1"); !errors.As(err, &refused) || refused.Number != 1044 {
		t.Errorf("the user asks for mysql's own database: %v, want error 1044", err)
	}
	for _, login := range []string{"bench", "root"} {
		if _, err := askMariaDB(t, mariadbDSN(t, c, login, "wrong", "", nil), "SELECT 1"); !errors.As(err, &refused) || refused.Number != 1045 {
			t.Errorf("a wrong password of %s is answered with %v, want error 1045", login, err)
		}
	}
	if id := c.exec(t, "stat", "--format", "%u:%g", "/proc/1"); id != "999:999" {
		t.Errorf("the server runs as %s, want 999:999", id)
	}
	env := docker(t, "exec", "--user", "mysql", c.id, "cat", "/proc/1/environ")
	if !strings.Contains(env, "LANG=") || strings.Contains(env, password) {
		t.Errorf("the server has the environment %q, want one without the password", env)
	}

	c.stop(t)
	docker(t, "start", c.id)
	mariadbReady(t, c, user)
	mariadbAnswers(t, user(), "SELECT COUNT(*) FROM ran", "3")
	c.stop(t)
}

func TestMariaDBMakesUpARootPassword(t *testing.T) {
	t.Parallel()
	c := start(t, mariadbImage, "3306", []string{"--env", "MARIADB_RANDOM_ROOT_PASSWORD=1"}, nil, "mysqld", "--skip-log-bin")
	said := regexp.MustCompile(`generated root password is (\S+)`)
	mariadbReady(t, c, func() *mysql.Config {
		var made string
		if found := said.FindStringSubmatch(c.logs(t)); found != nil {
			made = found[1]
		}
		return mariadbDSN(t, c, "root", made, "", nil)
	})
	c.stop(t)
}

func TestMariaDBSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	refuses(t, mariadbImage, "MARIADB_ROOT_PASSWORD is not set")
	refuses(t, mariadbImage, "MARIADB_PASSWORD is not", "--env", "MYSQL_ROOT_PASSWORD=a", "--env", "MYSQL_USER=b")
	refuses(t, mariadbImage, "both MYSQL_ROOT_PASSWORD and MYSQL_ROOT_PASSWORD_FILE are set", "--env", "MYSQL_ROOT_PASSWORD=a", "--env", "MYSQL_ROOT_PASSWORD_FILE=/b")
}
