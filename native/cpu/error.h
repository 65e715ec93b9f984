// The one exception that native code throws on purpose.
#pragma once

#include <stdexcept>
#include <string>

namespace whittle {

// `code` is one of WhittleErrorCode in bindings/errors.ts, spelled the same; `message` is one sentence that names the
// file, option or tensor, what was expected and what was found. The glue gives both to JavaScript.
class Error : public std::runtime_error {
 public:
  Error(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;  // a string literal
};

}  // namespace whittle
