// What addon.cc needs of each glue file.
#pragma once

#include <napi.h>

namespace whittle {

void add_machine_glue(Napi::Env env, Napi::Object exports);

}  // namespace whittle
