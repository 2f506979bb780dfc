"""The tests of other projects, from their source packages, off and on."""
