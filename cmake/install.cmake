# What `cmake --install` puts below the prefix, and a wheel into the package: headers, the static library, and the
# files by which CMake and pkg-config find them.  All of it may be moved as a whole.
include(CMakePackageConfigHelpers)

if(SKBUILD)
  set(include_dir cmlp/include)
  set(library_dir cmlp/lib)
else()
  include(GNUInstallDirs)
  set(include_dir ${CMAKE_INSTALL_INCLUDEDIR}/cmlp)
  set(library_dir ${CMAKE_INSTALL_LIBDIR})
endif()

install(FILES src/cmlp.h src/activations.h src/losses.h src/updates.h DESTINATION ${include_dir})
install(TARGETS cmlp_core EXPORT cmlp ARCHIVE DESTINATION ${library_dir} INCLUDES DESTINATION ${include_dir})

set(cmake_dir ${library_dir}/cmake/cmlp)
install(EXPORT cmlp NAMESPACE cmlp:: FILE cmlpTargets.cmake DESTINATION ${cmake_dir})
list(JOIN CMLP_DEPENDENCIES "\n" dependencies)
configure_file(cmake/cmlpConfig.cmake.in cmlpConfig.cmake @ONLY)
# Before 1.0 a minor version may change the interface; after it, SameMajorVersion.
write_basic_package_version_file(cmlpConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/cmlpConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/cmlpConfigVersion.cmake
  DESTINATION ${cmake_dir})

set(pc_dir ${library_dir}/pkgconfig)
foreach(dir include_dir library_dir pc_dir)
  cmake_path(ABSOLUTE_PATH ${dir} BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} OUTPUT_VARIABLE pc_${dir})
endforeach()
cmake_path(RELATIVE_PATH pc_include_dir BASE_DIRECTORY ${pc_pc_dir})
cmake_path(RELATIVE_PATH pc_library_dir BASE_DIRECTORY ${pc_pc_dir})
list(JOIN CMLP_LIBRARIES " " pc_libraries)
configure_file(cmake/cmlp.pc.in cmlp.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/cmlp.pc DESTINATION ${pc_dir})

# In a wheel it lies beside the Python files, which an editable install leaves where Cython does not look.
if(SKBUILD_STATE STREQUAL "editable")
  install(FILES cmlp/__init__.pxd DESTINATION cmlp)
endif()
