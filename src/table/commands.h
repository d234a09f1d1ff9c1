/* The subcommands: name, function suffix in src/cmd/, one line of help. `parley --help` and the
 * dispatcher read this table. */
#ifndef TABLE_COMMANDS_H
#define TABLE_COMMANDS_H

/* clang-format off */
#define COMMAND_TABLE(X) \
	X(init,   "make a new gateway: configuration, access file and signing key") \
	X(serve,  "run the gateway") \
	X(apply,  "make organisations, terms and grants as an access file says") \
	X(org,    "list, show, link, block and unblock organisations") \
	X(grant,  "offer, sign, list, show, suspend, restore and revoke grants") \
	X(statement, "what both sides hold of a month, signed") \
	X(key,    "issue, list, rotate, bind, limit and revoke keys") \
	X(review, "list, show and decide cases of keys used far above their own past") \
	X(suite,  "import, digest and check suites; list, approve and reject registered ones") \
	X(bench,  "run suites on models, or another harness behind a port: run, resume, proxy") \
	X(verify, "check a bundle, a log directory or a receipt") \
	X(witness, "cosign checkpoints of other gateways' logs") \
	X(grade,  "grade sealed answers for a gateway, in a process of its own") \
	X(top,    "live rates, streams and limits of a running gateway") \
	X(log,    "show, follow or prove records of a log directory") \
	X(backup, "copy a running gateway: documents, logs and keys") \
	X(sim,    "a stand-in model API for demonstrations, tests and load") \
	X(load,   "measure a model API or a gateway: closed or open loop, plain or streamed") \
	X(keygen, "make an Ed25519 signing key")
/* clang-format on */

#endif
