#include "cpu/thread_pool.h"

namespace whittle {}
