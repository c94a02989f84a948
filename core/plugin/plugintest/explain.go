package plugintest

import (
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Production reports whether hosts work with MySQL and Redis, see Stores.
func Production() bool { return os.Getenv(Stores) == "production" }

// Explain gives the directory's plan for a query, a step in a line, as "column=value" words.
func Explain(tb testing.TB, h *Host, query string, args ...any) string {
	tb.Helper()
	how := "EXPLAIN QUERY PLAN "
	if Production() {
		how = "EXPLAIN "
	}
	rows, err := h.DB().QueryContext(tb.Context(), how+query, args...)
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		tb.Fatal(err)
	}
	var plan strings.Builder
	for rows.Next() {
		row, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			tb.Fatal(err)
		}
		for i, column := range columns {
			fmt.Fprintf(&plan, "%s=%s ", strings.ToLower(column), row[i].String)
		}
		plan.WriteByte('\n')
	}
	if err := rows.Err(); err != nil || plan.Len() == 0 {
		tb.Fatalf("no plan of %s: %v", query, err)
	}
	return plan.String()
}

// What a plan says of a query that reads a whole table, and of one that sorts, or groups in a
// table of its own, on SQLite and MySQL.
var (
	scans = []string{"detail=SCAN", "type=ALL", "type=index "}
	sorts = []string{"TEMP B-TREE", "filesort", "Using temporary"}
)

// WantIndexed fails if the plan of a query scans a table. A subquery that is named part is none:
// its rows are those that its own plan finds.
func WantIndexed(tb testing.TB, h *Host, query string, args ...any) {
	tb.Helper()
	wantNone(tb, h, scans, query, args)
}

// WantOrdered fails if the plan of a query scans a table, or sorts.
func WantOrdered(tb testing.TB, h *Host, query string, args ...any) {
	tb.Helper()
	wantNone(tb, h, append(slices.Clone(sorts), scans...), query, args)
}

func wantNone(tb testing.TB, h *Host, bad []string, query string, args []any) {
	tb.Helper()
	plan := Explain(tb, h, query, args...)
	for line := range strings.Lines(plan) {
		if strings.Contains(line, "detail=SCAN part ") || strings.Contains(line, "table=<derived") {
			continue
		}
		for _, one := range bad {
			if strings.Contains(line, one) {
				tb.Errorf("%q in the plan of %s\n%s", one, query, plan)
			}
		}
	}
}
