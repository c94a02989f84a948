package engines

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/go-sql-driver/mysql"
)

// The one account of a server that this package starts, with all rights.
const (
	mariaUser     = "freeim"
	mariaPassword = "freeim"
)

// MariaDBOptions says what MariaDB server to start.
type MariaDBOptions struct {
	Dir  string // of its own; made, and filled with an empty installation, if missing
	Port int    // 0: a free one
	// Binlog writes a binary log too, flushed at each commit as the redo log is.
	Binlog bool
	// Args are further arguments; the last one of a kind holds.
	Args []string
}

// MariaDBServer is a running mariadbd.
type MariaDBServer struct{ *server }

// StartMariaDB starts a mariadbd and returns when it takes connections. Every
// commit is flushed. The error is ErrMissing if there is none.
func StartMariaDB(ctx context.Context, o MariaDBOptions) (*MariaDBServer, error) {
	name, err := find("mariadbd")
	if err != nil {
		return nil, err
	}
	dir, err := made(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start mariadbd: %w", err)
	}
	if err := installMariaDB(ctx, dir); err != nil {
		return nil, err
	}
	// Run at each start, before the first connection is taken.
	accounts := filepath.Join(dir, "accounts.sql")
	text := fmt.Sprintf("CREATE USER IF NOT EXISTS '%[1]s'@'%%' IDENTIFIED BY '%[2]s';\nGRANT ALL PRIVILEGES ON *.* TO '%[1]s'@'%%' WITH GRANT OPTION;\n", mariaUser, mariaPassword)
	if err := os.WriteFile(accounts, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("start mariadbd: %w", err)
	}
	m := &MariaDBServer{&server{name: name, dir: dir}}
	m.ready = m.greets
	err = start(ctx, m.server, []int{o.Port}, func(ports []int) ([]string, error) {
		args := append(mariaArgs(dir), fmt.Sprintf("--port=%d", ports[0]), "--bind-address=127.0.0.1", "--init-file="+accounts,
			"--socket=mariadb.sock", // in the data directory; a whole path may be too long
			"--pid-file="+filepath.Join(dir, "mariadb.pid"), "--skip-name-resolve", "--max-connections=500",
			"--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=64M", "--character-set-server=utf8mb4")
		if o.Binlog {
			args = append(args, "--log-bin=binlog", "--sync-binlog=1", "--server-id=1")
		}
		return append(args, o.Args...), nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// mariaArgs are the arguments that a server and its installation share. Nothing
// is read of the machine's own configuration, and the directory for temporary
// tables is their own: a server that starts empties it, whoever else is using it.
func mariaArgs(dir string) []string {
	args := []string{"--no-defaults", "--datadir=" + filepath.Join(dir, "data"), "--tmpdir=" + filepath.Join(dir, "tmp"), "--innodb-log-file-size=16M"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root") // refused unless it is said
	}
	return args
}

// installMariaDB makes an empty installation in dir unless there is one.
func installMariaDB(ctx context.Context, dir string) error {
	if _, err := made(filepath.Join(dir, "tmp")); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "mysql")); err == nil {
		return nil
	}
	name, err := find("mariadb-install-db", "mysql_install_db")
	if err != nil {
		return err
	}
	if _, err := find("my_print_defaults"); err != nil { // the installation calls it
		return err
	}
	args := append(mariaArgs(dir), "--auth-root-authentication-method=normal", "--skip-test-db")
	if said, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("install MariaDB in %s: %w: %s", dir, err, said)
	}
	return nil
}

// greets reports whether the server greets a connection as one that it will serve.
func (m *MariaDBServer) greets(ctx context.Context) error {
	if err := m.logged("ready for connections"); err != nil {
		return err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", m.Addr())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	packet := make([]byte, 5) // length 3, number 1, then 10 for the protocol's version or 255 for an error
	if _, err := io.ReadFull(c, packet); err != nil {
		return err
	}
	if packet[4] != 10 {
		return fmt.Errorf("the server greets with %d", packet[4])
	}
	return nil
}

// Addr is HOST:PORT.
func (m *MariaDBServer) Addr() string { return loopback(m.ports[0]) }

// DSN names a database as go-sql-driver/mysql reads it, with no parameters; an
// empty one: none.
func (m *MariaDBServer) DSN(database string) string {
	return fmt.Sprintf("%s:%s@tcp(%s)/%s", mariaUser, mariaPassword, m.Addr(), database)
}

// CreateDatabase makes a database if it is missing and gives its DSN. The name is
// of letters, digits and _.
func (m *MariaDBServer) CreateDatabase(ctx context.Context, name string) (dsn string, err error) {
	return m.DSN(name), m.database(ctx, "CREATE DATABASE IF NOT EXISTS", name)
}

// DropDatabase removes a database with all that is in it.
func (m *MariaDBServer) DropDatabase(ctx context.Context, name string) error {
	return m.database(ctx, "DROP DATABASE", name)
}

// CreateAccount makes an account that may do everything in one database and
// nothing beside, as a site's cores have one, and gives its DSN.
func (m *MariaDBServer) CreateAccount(ctx context.Context, name, database string) (dsn string, err error) {
	if !plain.MatchString(name) || !plain.MatchString(database) {
		return "", fmt.Errorf("%q or %q is no name", name, database)
	}
	err = m.exec(ctx, fmt.Sprintf("CREATE USER '%[1]s'@'%%' IDENTIFIED BY '%[1]s'", name),
		fmt.Sprintf("GRANT ALL PRIVILEGES ON `%s`.* TO '%s'@'%%'", database, name))
	return fmt.Sprintf("%[1]s:%[1]s@tcp(%[2]s)/%[3]s", name, m.Addr(), database), err
}

// ReadOnly has the server refuse what accounts of CreateAccount want to write, as
// a replica does, or take it again.
func (m *MariaDBServer) ReadOnly(ctx context.Context, on bool) error {
	return m.exec(ctx, fmt.Sprintf("SET GLOBAL read_only = %t", on))
}

// plain is what names are made of here, so that they need no quoting.
var plain = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)

func (m *MariaDBServer) database(ctx context.Context, do, name string) error {
	if !plain.MatchString(name) {
		return fmt.Errorf("%q is no name for a database", name)
	}
	return m.exec(ctx, do+" "+name)
}

// exec has the account with all rights do something.
func (m *MariaDBServer) exec(ctx context.Context, statements ...string) error {
	config, err := mysql.ParseDSN(m.DSN(""))
	if err != nil {
		return err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	for _, statement := range statements {
		if _, err = db.ExecContext(ctx, statement); err != nil {
			break
		}
	}
	return errors.Join(err, db.Close())
}
