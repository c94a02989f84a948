package sql_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"freeim/core/engines"
	"freeim/core/sql"
)

// BenchmarkWriters measures small transactions, each flushed, of several writers
// at once.
func BenchmarkWriters(b *testing.B) {
	for _, dialect := range []string{"sqlite", "mysql"} {
		for _, writers := range []int{1, 8, 32} {
			b.Run(fmt.Sprint(dialect, "/", writers), func(b *testing.B) {
				o := sql.Options{Dialect: dialect, Path: filepath.Join(b.TempDir(), "directory.db")}
				if dialect == "mysql" {
					o.DSN = engines.Database(b)
				}
				d, err := sql.Open(o)
				if err != nil {
					b.Fatal(err)
				}
				defer d.Close()
				for _, query := range []string{"CREATE TABLE counter (n INTEGER)", "INSERT INTO counter VALUES (0)"} {
					if _, err := d.DB().ExecContext(b.Context(), query); err != nil {
						b.Fatal(err)
					}
				}
				b.ResetTimer() // the server may have been started above
				b.SetParallelism(writers)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := increment(b.Context(), d); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
