/* kinds.c -- the kinds of objects, by tag: the one list of them.
 *
 * What a new kind needs besides: its struct in layout.h, docs/format.md, a walk in check.c, its
 * types in slots/slots.c and a Kind in pmemstore/containers.
 */
#include "array.h"
#include "record.h"
#include "sorted.h"
#include "table.h"
#include "vec.h"

#define AT(tag) [(tag) - PMS_TAG_OBJECT_MIN]

#define ENTRY PMS_ENTRY_MIN
#define CELL sizeof(struct pms_cell_pm)
#define SORTED_ENTRY PMS_SORTED_ENTRY_MIN

const struct pms_kind pms_kinds[PMS_TAG_OBJECTS] = {
    AT(PMS_TAG_DICT) = {"dict", sizeof(struct pms_dict_pm), ENTRY, pms_dict_create,
                        pms_dict_teardown},
    AT(PMS_TAG_LIST) = {"list", sizeof(struct pms_list_pm), CELL, pms_list_create,
                        pms_list_teardown},
    AT(PMS_TAG_SET) = {"set", sizeof(struct pms_dict_pm), ENTRY, pms_dict_create,
                       pms_dict_teardown},
    AT(PMS_TAG_DEQUE) = {"deque", sizeof(struct pms_list_pm), CELL, pms_list_create,
                         pms_list_teardown},
    AT(PMS_TAG_ARRAY) = {"array", sizeof(struct pms_array_pm), 1, pms_array_create,
                         pms_array_teardown},
    AT(PMS_TAG_SORTED_DICT) = {"sorted dict", sizeof(struct pms_sorted_pm), SORTED_ENTRY,
                               pms_sorted_create, pms_sorted_teardown},
    AT(PMS_TAG_SORTED_SET) = {"sorted set", sizeof(struct pms_sorted_pm), SORTED_ENTRY,
                              pms_sorted_create, pms_sorted_teardown},
    AT(PMS_TAG_RECORD) = {"record", sizeof(struct pms_record_pm), 1, pms_record_refuse,
                          pms_record_teardown},
    AT(PMS_TAG_SCHEMA) = {"schema", sizeof(struct pms_schema_pm), sizeof(struct pms_field_pm),
                          pms_record_refuse, pms_schema_teardown},
};
