#include "family.h"

static const char constants_h[] = {
#embed "include/tile/constants.h" suffix(, 0)
};
static const char parameters_h[] = {
#embed "include/tile/parameters.h" suffix(, 0)
};
static const char shared_memory_h[] = {
#embed "include/tile/shared_memory.h" suffix(, 0)
};
static const char tensor_map_h[] = {
#embed "include/tile/tensor_map.h" suffix(, 0)
};
static const char base_cuh[] = {
#embed "tile/base.cuh" suffix(, 0)
};
static const char instructions_cuh[] = {
#embed "tile/instructions.cuh" suffix(, 0)
};
static const char types_cuh[] = {
#embed "tile/types.cuh" suffix(, 0)
};
static const char numbers_cuh[] = {
#embed "tile/numbers.cuh" suffix(, 0)
};
static const char team_cuh[] = {
#embed "tile/team.cuh" suffix(, 0)
};
static const char memory_cuh[] = {
#embed "tile/memory.cuh" suffix(, 0)
};
static const char matrix_cuh[] = {
#embed "tile/matrix.cuh" suffix(, 0)
};
static const char wgmma_cuh[] = {
#embed "tile/wgmma.cuh" suffix(, 0)
};
static const char warpgroup_cuh[] = {
#embed "tile/warpgroup.cuh" suffix(, 0)
};
static const char planes_cuh[] = {
#embed "tile/planes.cuh" suffix(, 0)
};
static const char tma_cuh[] = {
#embed "tile/tma.cuh" suffix(, 0)
};
static const char ring_cuh[] = {
#embed "tile/ring.cuh" suffix(, 0)
};
static const char fragment_cuh[] = {
#embed "tile/fragment.cuh" suffix(, 0)
};
static const char blocks_cuh[] = {
#embed "tile/blocks.cuh" suffix(, 0)
};

static const struct cuda_source sources[] = {
    SOURCE("tile/constants.h", constants_h),
    SOURCE("tile/parameters.h", parameters_h),
    SOURCE("tile/shared_memory.h", shared_memory_h),
    SOURCE("tile/tensor_map.h", tensor_map_h),
    SOURCE("tile/base.cuh", base_cuh),
    SOURCE("tile/instructions.cuh", instructions_cuh),
    SOURCE("tile/types.cuh", types_cuh),
    SOURCE("tile/numbers.cuh", numbers_cuh),
    SOURCE("tile/team.cuh", team_cuh),
    SOURCE("tile/memory.cuh", memory_cuh),
    SOURCE("tile/matrix.cuh", matrix_cuh),
    SOURCE("tile/wgmma.cuh", wgmma_cuh),
    SOURCE("tile/warpgroup.cuh", warpgroup_cuh),
    SOURCE("tile/planes.cuh", planes_cuh),
    SOURCE("tile/tma.cuh", tma_cuh),
    SOURCE("tile/ring.cuh", ring_cuh),
    SOURCE("tile/fragment.cuh", fragment_cuh),
    SOURCE("tile/blocks.cuh", blocks_cuh),
};

const struct cuda_family tile_family = FAMILY(sources);
