package sql_test

import (
	"net/url"
	"testing"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/sql"
	"freeim/core/timeline"
)

// A MySQL that takes an account over TLS only: tls_ca names the roots that verify it,
// for the directory and for the record; another's roots, or none, are refused.
func TestMySQLOverTLS(t *testing.T) {
	files, strange := engines.MakeCertificates(t), engines.MakeCertificates(t)
	m := engines.MariaDBWith(t, engines.MariaDBOptions{Args: []string{
		"--ssl-ca=" + files.CA, "--ssl-cert=" + files.Cert, "--ssl-key=" + files.Key}})
	plain, err := m.CreateDatabase(t.Context(), "secure")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openDB(t, plain).ExecContext(t.Context(), "ALTER USER freeim@'%' REQUIRE SSL"); err != nil {
		t.Fatal(err)
	}
	over := func(ca string) string { return plain + "?tls_ca=" + url.QueryEscape(ca) }
	for name, dsn := range map[string]string{
		"without TLS": plain, "by another's roots": over(strange.CA), "by the system's roots": plain + "?tls=true",
		"without a file": over("/nowhere"), "by a file that is no certificate": over(files.Key),
		"preferred, by another's roots": over(strange.CA) + "&tls=preferred",
	} {
		if d, err := sql.Open(sql.Options{Dialect: "mysql", DSN: dsn, Log: quiet}); err == nil {
			d.Close()
			t.Errorf("%s: the directory opens", name)
		}
		if r, err := sql.OpenRecord(t.Context(), sql.RecordOptions{DSN: dsn, Log: quiet, IDs: im.NewIDGenerator(nil)}); err == nil {
			r.Close()
			t.Errorf("%s: the record opens", name)
		}
	}
	d, err := sql.Open(sql.Options{Dialect: "mysql", DSN: over(files.CA), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var variable, cipher string
	if err := d.DB().QueryRowContext(t.Context(), "SHOW STATUS LIKE 'Ssl_cipher'").Scan(&variable, &cipher); err != nil || cipher == "" {
		t.Errorf("the cipher is %q, %v", cipher, err)
	}
	r := openRecord(t, sql.RecordOptions{DSN: over(files.CA), Log: quiet})
	if c, err := r.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1, Inboxes: []im.UserID{1, 2}}); err != nil || c.Seq != 1 {
		t.Errorf("append: got %+v, %v", c, err)
	}
}
