package texts

// MaxName is how many octets of a name Closest compares with others.
const MaxName = 64

// Closest is the one of among that is nearest to name, in the order of the alphabet the
// first of those; empty: all are as far as most. Of a long name the beginning is compared.
func Closest(name string, among []string, most int) (best string) {
	if len(name) > MaxName {
		name = name[:MaxName]
	}
	for _, other := range among {
		if d := distance(name, other, most+1); d < most || d == most && best != "" && other < best {
			best, most = other, d
		}
	}
	return best
}

// distance is how many octets must be put in, taken out, changed or swapped with their
// neighbour to make b of a; most if it is more.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], most)
}
