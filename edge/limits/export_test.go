package limits

// Remembered is how many peers have no connection.
func Remembered(g *Guard) (n int) {
	for i := range g.parts {
		g.parts[i].mu.Lock()
		n += g.parts[i].idle
		g.parts[i].mu.Unlock()
	}
	return n
}
