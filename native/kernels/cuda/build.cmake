# The CUDA half of the library: included by CMakeLists.txt where WHITTLE_CUDA is ON. Adds kernels and runtime to
# whittle_core. The runtime is linked statically and finds the driver when it is first used, so that the result runs on
# machines without one.
set(WHITTLE_CUDA_ARCHITECTURES "80-real;86-real;89-real;90a-real;90-virtual"
    CACHE STRING "What the kernels are compiled for; the last is PTX, for GPUs of later kinds")
foreach(architecture IN LISTS WHITTLE_CUDA_ARCHITECTURES)
  if(architecture MATCHES "^90(-real)?$")
    message(FATAL_ERROR "WHITTLE_CUDA_ARCHITECTURES: expected 90a-real but found ${architecture}, whose machine code "
                        "lacks the matrix instructions that Hopper GPUs are given")
  endif()
endforeach()
set(CMAKE_CUDA_ARCHITECTURES ${WHITTLE_CUDA_ARCHITECTURES})
# C++17, since CMake before 3.26 does not know nvcc's flag for more.
set(CMAKE_CUDA_STANDARD 17)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

read_list(cuda_sources cuda)
add_library(whittle_cuda OBJECT ${cuda_sources})
target_include_directories(whittle_cuda PRIVATE native ${CUDAToolkit_INCLUDE_DIRS})
set_target_properties(whittle_cuda PROPERTIES CUDA_VISIBILITY_PRESET hidden CUDA_RUNTIME_LIBRARY Static)
# The Makefile generator takes a target with CUDA objects for one of CUDA's language.
set_target_properties(whittle_core PROPERTIES CUDA_STANDARD 17 CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}")
target_compile_options(
  whittle_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr --resource-usage -Xfatbin=-compress-all>
                       $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra>)
target_sources(whittle_core PRIVATE $<TARGET_OBJECTS:whittle_cuda>)
target_compile_definitions(whittle_core PUBLIC WHITTLE_CUDA)
target_link_libraries(whittle_core PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS} rt)

# Target cuda-check: builds the tests and the benchmark, runs the tests on this machine's GPU, once more under
# compute-sanitizer where that is installed, and prints the benchmark's table.
function(whittle_cuda_check)
  read_list(cuda_test_sources cuda_test)
  add_executable(whittle_cuda_tests EXCLUDE_FROM_ALL ${cuda_test_sources})
  whittle_target(whittle_cuda_tests)
  target_link_libraries(whittle_cuda_tests PRIVATE whittle_core)

  read_list(cuda_bench_sources cuda_bench)
  add_executable(
    whittle_cuda_bench EXCLUDE_FROM_ALL ${cuda_bench_sources} native/bench/cuda/gpu_clock.cc
                                        native/bench/cuda/int8_peak.cu native/test/cuda_real_devices.cc)
  target_include_directories(whittle_cuda_bench PRIVATE native ${CUDAToolkit_INCLUDE_DIRS})
  set_target_properties(whittle_cuda_bench PROPERTIES CUDA_RUNTIME_LIBRARY Static)
  target_compile_options(
    whittle_cuda_bench PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>
                               $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off -Wall -Wextra>)
  target_link_libraries(whittle_cuda_bench PRIVATE whittle_core)

  find_program(COMPUTE_SANITIZER compute-sanitizer HINTS ${CUDAToolkit_BIN_DIR})
  if(COMPUTE_SANITIZER)
    set(sanitize ${COMPUTE_SANITIZER} --error-exitcode 1 $<TARGET_FILE:whittle_cuda_tests> cuda_rows cuda_gemm
                 cuda_attention cuda_attention_s8)
  else()
    set(sanitize ${CMAKE_COMMAND} -E echo "SKIPPED: compute-sanitizer is not installed")
  endif()
  add_custom_target(
    cuda-check
    COMMAND whittle_cuda_tests
    COMMAND ${sanitize}
    COMMAND whittle_cuda_bench
    VERBATIM USES_TERMINAL)
endfunction()
