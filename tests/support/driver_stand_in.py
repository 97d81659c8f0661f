"""Compiles a library with the functions of NVIDIA's driver that qlumen calls, in the host's memory.

It keeps the rules of `cuda.h`: calls need a context that is current in their thread, and a copy
to the host is done when its stream was waited for.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = r"""
#include <stdlib.h>
#include <string.h>
typedef int R; typedef int D; typedef void *P; typedef unsigned long long A; typedef size_t Z;
enum { INVALID = 1, NO_CONTEXT = 201 };
static __thread int depth; static int live, contexts;
static struct { void *to; const void *from; Z n; } waiting[16]; static int count;
#define NEED if (!depth) return NO_CONTEXT
int stand_in_live(void) { return live + 1000 * contexts; }
R cuInit(unsigned flags) { return flags ? INVALID : 0; }
R cuDriverGetVersion(int *v) { *v = 13010; return 0; }
R cuDeviceGetCount(int *n) { *n = 2; return 0; }
R cuDeviceGet(D *d, int i) { *d = 40 + i; return i < 2 ? 0 : INVALID; }
R cuDeviceGetName(char *s, int n, D d) { strncpy(s, d == 40 ? "Stand-in A" : "Stand-in B", n);
  return 0; }
R cuDeviceTotalMem_v2(Z *n, D d) { *n = (Z)24 << 30; return 0; }
R cuDeviceGetAttribute(int *v, int what, D d) { *v = what == 75 ? 8 : 9; return 0; }
R cuDevicePrimaryCtxRetain(P *c, D d) { *c = (P)(A)(d * 4096); contexts++; return 0; }
R cuDevicePrimaryCtxRelease_v2(D d) { contexts--; return 0; }
R cuCtxPushCurrent_v2(P c) { depth++; return c ? 0 : INVALID; }
R cuCtxPopCurrent_v2(P *c) { NEED; depth--; return 0; }
R cuStreamCreate(P *s, unsigned flags) { NEED; *s = malloc(1); live++; return 0; }
R cuStreamDestroy_v2(P s) { NEED; free(s); live--; return 0; }
R cuMemAlloc_v2(A *p, Z n) { NEED; if (n >> 40) return 2; *p = (A)calloc(1, n); live++; return 0; }
R cuMemFree_v2(A p) { NEED; free((P)p); live--; return 0; }
R cuMemcpyHtoDAsync_v2(A to, const void *from, Z n, P s) { NEED; memcpy((P)to, from, n); return 0; }
R cuMemcpyDtoHAsync_v2(void *to, A from, Z n, P s) { NEED; waiting[count].to = to;
  waiting[count].from = (P)from; waiting[count++].n = n; return 0; }
R cuStreamSynchronize(P s) { NEED; while (count) { count--;
  memcpy(waiting[count].to, waiting[count].from, waiting[count].n); } return 0; }
"""


def build_driver(folder: Path) -> str:
    """Return the path of the library; skip the test without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the stand-in of NVIDIA's driver")
    source, library = folder / "driver.c", folder / "libcuda.so.1"
    source.write_text(SOURCE)
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    return str(library)
