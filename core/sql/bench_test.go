package sql_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"freeim/core/sql"
)

// BenchmarkWriters measures small transactions, each flushed, of several writers
// at once.
func BenchmarkWriters(b *testing.B) {
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			d, err := sql.Open(sql.Options{Path: filepath.Join(b.TempDir(), "directory.db")})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			for _, query := range []string{"CREATE TABLE counter (n INTEGER)", "INSERT INTO counter VALUES (0)"} {
				if _, err := d.DB().ExecContext(b.Context(), query); err != nil {
					b.Fatal(err)
				}
			}
			b.SetParallelism(writers)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := increment(b.Context(), d.DB()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
