// Package rules holds the repository to what its architecture says: who may
// import what, what a package, a plugin and a script must have beside them, and
// what must not be written at all. It is tests only; make check runs them.
package rules
