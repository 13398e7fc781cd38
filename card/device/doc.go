// Package device opens cards by their URI, so that the same command works on
// metal and in software, and plays a card into a private pcscd.
//
//	pcsc:0             the card in the reader of that index
//	pcsc:"ACS ACR39U"  the card in the reader of that name, or part of a name
//	emul:FILE          the software UICC whose image is FILE, in this process
//	emul:usim          a fresh software UICC of that model, with keys of its own
//
// Play puts a card behind a real PC/SC stack: a pcscd of its own with a virtual
// reader, through which any PC/SC program reaches it.
package device
