// Registers every glue file's functions with Node. One `add_*` a file.
#include <napi.h>

#include "addon/glue.h"

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports) {
  whittle::add_engine_glue(env, exports);
  whittle::add_formats_glue(env, exports);
  whittle::add_machine_glue(env, exports);
  whittle::add_compress_glue(env, exports);
  whittle::add_dropout_glue(env, exports);
  whittle::add_optimizer_glue(env, exports);
  whittle::add_tensor_glue(env, exports);
  whittle::add_text_glue(env, exports);
  whittle::add_training_glue(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(whittle, init)
