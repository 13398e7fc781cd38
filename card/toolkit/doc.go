// Package toolkit is the terminal's side of the card application toolkit (TS 102 223): it
// sends the terminal profile, fetches what the card asks for, lets a policy answer it, runs
// the card's timers, its REFRESHes and its channels to servers, and writes down all of it.
//
// Start puts a Terminal on a card.Session. From then on no driver on that card sees 91xx:
// after any command that ends so, what the card asks for is done before the command
// returns. Poll has to be called now and then; it is what lets a card speak that was not
// spoken to, and what tells it of timers and data.
//
// What a card asks for is not to be trusted. By default it reaches no server, sees nothing
// of the user and has nothing sent; Config.Allow lists the servers, Config.Policy the
// commands that are answered in another way. A Terminal is not safe for concurrent use.
package toolkit
