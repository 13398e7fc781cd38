/* The loop that our Transmit is measured against: connect to the reader named by
 * the first argument and send it the 7 bytes of a SELECT as often as the second
 * says. Prints the nanoseconds of each exchange on the average. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <winscard.h>

static void check(LONG rv, const char *what) {
	if (rv != SCARD_S_SUCCESS) {
		fprintf(stderr, "%s: %s\n", what, pcsc_stringify_error(rv));
		exit(1);
	}
}

int main(int argc, char **argv) {
	static const BYTE select[] = {0x00, 0xA4, 0x00, 0x04, 0x02, 0x3F, 0x00};
	BYTE response[258];
	SCARDCONTEXT context;
	SCARDHANDLE card;
	DWORD protocol, length;
	struct timespec start, end;
	long i, n;

	if (argc != 3)
		return 2;
	n = atol(argv[2]);
	check(SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &context), "context");
	check(SCardConnect(context, argv[1], SCARD_SHARE_EXCLUSIVE, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1, &card, &protocol), "connect");
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (i = 0; i < n; i++) {
		length = sizeof response;
		check(SCardTransmit(card, protocol == SCARD_PROTOCOL_T0 ? SCARD_PCI_T0 : SCARD_PCI_T1, select, sizeof select, NULL, response, &length), "transmit");
		if (length != 2 || response[0] != 0x90)
			return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	check(SCardDisconnect(card, SCARD_LEAVE_CARD), "disconnect");
	check(SCardReleaseContext(context), "release");
	printf("%ld\n", ((end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec) / n);
	return 0;
}
