// Package proc runs the programs that the product starts beside itself (pcscd,
// swtpm), so that none of them outlives it: Stop ends one, and the kernel ends
// it where this process is killed and can stop nothing any more.
//
// The latter is PR_SET_PDEATHSIG, which follows the thread that forked, not the
// process. So each child is forked, and waited for, by a goroutine that is
// locked to its thread for as long as the child lives. It does not reach what
// the child itself forks: start servers in the foreground, never as daemons.
//
// NewTemp makes folders that go the same way: the next process that makes one
// removes those of the dead.
package proc
