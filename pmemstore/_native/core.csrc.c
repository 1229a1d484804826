#include "status.h"
#include "persist.h"
#include "map.h"
#include "map_user.h"
