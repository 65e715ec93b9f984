// What is thrown where a kernel cannot be launched. Plain C++, so that the engine can tell why.
#pragma once

#include <string>

#include "cpu/error.h"

namespace whittle::cuda {

class LaunchError : public Error {
 public:
  LaunchError(const char* code, const std::string& message, bool out_of_memory = false)
      : Error(code, message), out_of_memory_(out_of_memory) {}
  // The kernel's code is loaded when it is first launched, which takes memory of the GPU.
  bool out_of_memory() const { return out_of_memory_; }

 private:
  bool out_of_memory_;
};

}  // namespace whittle::cuda
