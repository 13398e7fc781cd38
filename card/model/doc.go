// Package model holds card models as data: which answer to reset a card gives,
// where it keeps its keys and its sequence numbers, and what proves the right
// to write them. A card without a model is refused for writing.
//
// A model is a TOML file in the folder data, embedded in the program; Parse
// reads one more. Find gives the model of a card by its ATR, and the model
// encodes and decodes the vendor's files, for the one who writes a card and for
// the software UICC that plays one. Guess names families that have no model.
//
// Beside the models lie the cards (Card): the files that the software UICC is made
// of, with their first content. A card names the model that is its family.
//
// Sources for the layout of the "usim" model are the public descriptions of the
// sysmoISIM-SJA2 and SJA5 cards: pySim (pySim/sysmocom_sja2.py) and
// sysmo-usim-tool (sysmo_isim_sja2.py).
package model
