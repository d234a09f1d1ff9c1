/* The verbs of `parley grant` that are more than one call of the admin API. */
#ifndef CMD_GRANT_H
#define CMD_GRANT_H

int grant_offer(int argc, char **argv);
int grant_sign(int argc, char **argv);

#define GRANT_OFFER_HELP "Prints the signed grant to hand to the organisation, or takes it back."
#define GRANT_SIGN_HELP "Shows what an offered grant says and adds the organisation's signature."

#endif
