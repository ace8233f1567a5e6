/* The functions for processors of which nothing is known. */

#define LANES 4
#define PANEL 2
#define FUNCTIONS functions_plain
#define INTERLEAVED_LOW 0, 4, 1, 5
#define INTERLEAVED_HIGH 2, 6, 3, 7
#include "block.h"
