package social_test

import (
	"strings"
	"testing"

	"freeim/core/plugin/plugintest"
	"freeim/plugins/social"
)

// No listing reads a table from end to end, or is sorted where an index has its order.
func TestListingsUseIndexes(t *testing.T) {
	w := start(t)
	fill(t, w)
	mysql := plugintest.Production()
	for _, q := range social.Listings() {
		t.Run(q.Name, func(t *testing.T) {
			plan := plugintest.Explain(t, w.Host, q.SQL, q.Args...)
			t.Log(plan)
			for line := range strings.Lines(plan) {
				if !mysql && (strings.Contains(line, "SCAN social_") || strings.Contains(line, "TEMP B-TREE FOR ORDER BY") && !strings.Contains(q.SQL, "UNION")) {
					t.Errorf("%s", line)
				}
				if mysql && strings.Contains(line, "social_") && (strings.Contains(line, "type=ALL") || strings.Contains(line, "type=index ") || strings.Contains(line, "filesort")) {
					t.Errorf("%s", line)
				}
			}
		})
	}
}

// fill makes the tables so large that an index pays.
func fill(t *testing.T, w *world) {
	t.Helper()
	crowd(t, w, 2000)
	tx, err := w.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1500 {
		for _, statement := range []struct {
			sql  string
			args []any
		}{
			{"INSERT INTO social_blocks (user_id, blocked_id, since_ms) VALUES (?, ?, 1)", []any{i, i + 1}},
			{"INSERT INTO social_applications (from_id, to_id, state, remark, question, answer, made_ms, ended_ms, until_ms) VALUES (?, ?, 0, '', '', '', ?, 0, ?)", []any{i, i + 1, i, 1000 + i}},
		} {
			if _, err := tx.ExecContext(t.Context(), statement.sql, statement.args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if plugintest.Production() {
		for _, table := range []string{"people", "friends", "applications", "blocks"} {
			rows, err := w.DB().QueryContext(t.Context(), "ANALYZE TABLE social_"+table)
			if err != nil {
				t.Fatal(err)
			}
			rows.Close()
		}
	}
}
