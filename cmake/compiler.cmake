# Where no C compiler is found, what to install: CMake's own message does not say.
if(CMAKE_HOST_UNIX AND NOT CMAKE_C_COMPILER AND NOT CMAKE_TOOLCHAIN_FILE)
  separate_arguments(compilers UNIX_COMMAND "$ENV{CC}")
  if(NOT compilers)
    set(compilers cc gcc clang)
  endif()
  find_program(CMLP_COMPILER NAMES ${compilers})
  if(NOT CMLP_COMPILER)
    unset(CMLP_COMPILER CACHE)
    list(JOIN compilers ", " compilers)
    message(FATAL_ERROR "cmlp needs a C compiler; none of these was found: ${compilers}.  Install one:\n"
      "  Debian, Ubuntu   apt-get install gcc libc6-dev\n"
      "  Fedora           dnf install gcc\n"
      "  macOS            xcode-select --install; brew install libomp")
  endif()
endif()
