#ifndef CMD_BENCH_COMPARE_H
#define CMD_BENCH_COMPARE_H

int run_bench_compare(int argc, char **argv);
int run_bench_power(int argc, char **argv);

#endif
