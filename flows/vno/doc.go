// Package vno is the visited network operator of TR 33.812: it gives a machine
// access, after authentication by the home of the identity that the machine
// shows, and to a provisional identity only a bearer that reaches the
// registration operator and nothing else (P2.8, SR-13).
//
// The bearer is wire's CONNECT gateway: the network carries bytes and sees no
// message. What stands for the air interface, attach and answer, is HTTPS with
// mutual TLS as all else; a real network would see less of the machine.
package vno
