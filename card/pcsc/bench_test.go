//go:build cgo

package pcsc

const cardProcessEnv = "MCIM_PCSC_TEST_CARD"

func cardProcess() {}
