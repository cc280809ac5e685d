/* One message of each type, with every field set to something that is not zero. */
#ifndef UNIMESH_TESTS_UNIT_CONTROL_SAMPLES_H
#define UNIMESH_TESTS_UNIT_CONTROL_SAMPLES_H

#include "ctl/control.h"

enum { CONTROL_SAMPLES = 29 };
struct control_message control_sample(int i); /* 0 … CONTROL_SAMPLES - 1 */

#endif
