"""The compiled module: cmlp's static library goes into it."""

from Cython.Build import cythonize
from setuptools import Extension, setup

import cmlp

net = Extension(
    "tinynet.net",
    ["tinynet/net.pyx"],
    include_dirs=[cmlp.get_include()],
    library_dirs=[cmlp.get_library_dir()],
    libraries=["cmlp"],
    extra_link_args=["-fopenmp"],  # GCC; Apple's linker takes -lomp
)
setup(ext_modules=cythonize([net], language_level=3))
