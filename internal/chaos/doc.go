// Package chaos has a test that does to a supervisor, under load, what a seed draws:
// good and bad upgrades, kills and stops of everybody, changes of what it stands on,
// some of them at the same time. A model that knows nothing of the machine says what
// must have come of it.
//
//	deed      what can be done, and what may come of it
//	script    what is drawn from a seed: steps of deeds that overlap
//	ledger    the model: what runs, by the reports; pure
//	loss      which requests may fail, by the deaths that were seen; pure
//	coroner   sees when each generation dies
//	player    does the deeds
//	traffic   the clients, slow ones too
package chaos
