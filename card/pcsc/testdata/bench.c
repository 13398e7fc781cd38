/* The loop that our Transmit is measured against. It connects to the reader named
 * by its argument. For each number in its input it sends the 7 bytes of a SELECT as
 * often, after a fifth of that for warming up, and prints how many nanoseconds it
 * took. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <winscard.h>

static void check(LONG rv, const char *what) {
	if (rv != SCARD_S_SUCCESS) {
		fprintf(stderr, "%s: %s\n", what, pcsc_stringify_error(rv));
		exit(1);
	}
}

static void transmit(SCARDHANDLE card, DWORD protocol, long n) {
	static const BYTE select[] = {0x00, 0xA4, 0x00, 0x04, 0x02, 0x3F, 0x00};
	BYTE response[258];
	DWORD length;

	for (; n > 0; n--) {
		length = sizeof response;
		check(SCardTransmit(card, protocol == SCARD_PROTOCOL_T0 ? SCARD_PCI_T0 : SCARD_PCI_T1, select, sizeof select, NULL, response, &length), "transmit");
		if (length != 2 || response[0] != 0x90)
			exit(1);
	}
}

int main(int argc, char **argv) {
	SCARDCONTEXT context;
	SCARDHANDLE card;
	DWORD protocol;
	struct timespec start, end;
	long n;

	if (argc != 2)
		return 2;
	check(SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &context), "context");
	check(SCardConnect(context, argv[1], SCARD_SHARE_SHARED, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1, &card, &protocol), "connect");
	while (scanf("%ld", &n) == 1) {
		transmit(card, protocol, n / 5);
		clock_gettime(CLOCK_MONOTONIC, &start);
		transmit(card, protocol, n);
		clock_gettime(CLOCK_MONOTONIC, &end);
		printf("%ld\n", (end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec);
		fflush(stdout);
	}
	check(SCardDisconnect(card, SCARD_LEAVE_CARD), "disconnect");
	check(SCardReleaseContext(context), "release");
	return 0;
}
