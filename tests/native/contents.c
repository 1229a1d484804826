/* contents.c -- contents.h is the manual. */
#include "contents.h"

#include "check.h"

#define VALUE_MAX 200000u
#define KEY_MAX 1200u

/* ---- values and keys ---- */

static const uint8_t *value_bytes(const struct model_value *value)
{
    static uint64_t words[VALUE_MAX / 8 + 1];
    for (uint32_t i = 0; i <= value->len / 8; i++) {
        words[i] = (value->num + i) * 0x9e3779b97f4a7c15ull;
        if (value->tag == PMS_TAG_STR) /* ASCII */
            words[i] = (words[i] & 0x3f3f3f3f3f3f3f3full) + 0x2020202020202020ull;
    }
    return (const uint8_t *)words;
}

static int is_number(uint32_t tag) { return tag == PMS_TAG_INT || tag == PMS_TAG_FLOAT; }

static uint64_t float_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return bits;
}

/* One key in three is an INT, a short STR, a long STR; some of the long ones are far.  Of sixteen, five
 * are of other kinds: what one finds in a dict may differ from what it is found by. */
static struct pms_key key_of(uint64_t number)
{
    static char name[KEY_MAX], stored[KEY_MAX];
    double value = (double)number;
    size_t len = number % 3 == 1 ? 0 : number % 5 == 0 ? 1100 : 40;
    memset(name, 'k', sizeof name);
    len += (size_t)snprintf(name + len, 32, "%u", (unsigned)number);
    struct pms_key key = {.tag = PMS_TAG_STR, .data = name, .len = len};
    if (number == 1)
        return (struct pms_key){.tag = PMS_TAG_INT, .stored_tag = PMS_TAG_TRUE, .num = 1};
    if (number == 10)
        return (struct pms_key){.tag = PMS_TAG_NONE, .stored_tag = PMS_TAG_NONE};
    if (number % 16 == 1) {
        key = (struct pms_key){.tag = PMS_TAG_FLOAT, .num = float_bits(value + 0.5)};
    } else if (number % 48 == 4) { /* no other key has this INT */
        key = (struct pms_key){.tag = PMS_TAG_INT,
                               .stored_tag = PMS_TAG_FLOAT,
                               .num = number,
                               .stored_num = float_bits(value)};
    } else if (number % 16 == 7) {
        key.tag = PMS_TAG_BYTES;
    } else if (number % 16 == 10) {
        key.tag = PMS_TAG_PACKED;
        key.stored = memset(stored, 's', sizeof stored);
        key.stored_len = number % 5 ? 30 : 1000;
    } else if (number % 3 == 0) {
        key = (struct pms_key){.tag = PMS_TAG_INT, .num = number};
    }
    if (key.stored_tag == 0)
        key.stored_tag = key.tag;
    return key;
}

/* As it comes back from a dict. */
static struct pms_val key_val(const struct pms_key *key)
{
    struct pms_val value = {.tag = key->stored_tag, .data = key->data, .len = key->len};
    if (key->stored)
        value.data = key->stored, value.len = key->stored_len;
    if (is_number(key->stored_tag))
        value.num = key->tag == key->stored_tag ? key->num : key->stored_num;
    return value;
}

/* ---- the model ---- */

void model_start(struct model *model, uint64_t root)
{
    memset(model, 0, sizeof *model);
    model->object[0].tag = PMS_TAG_DICT;
    model->object[0].refs = 1;
    model->object[0].off = root;
}

static void drop_value(struct model *model, const struct model_value *value)
{
    if (!pms_tag_is_object(value->tag))
        return;
    struct model_object *object = &model->object[value->num];
    if (--object->refs > 0)
        return;
    for (uint32_t i = 0; i < object->count; i++)
        drop_value(model, &object->item[i].value);
    object->tag = 0;
    object->count = 0;
}

static uint32_t find_key(const struct model_object *dict, uint64_t key)
{
    uint32_t i = 0;
    while (i < dict->count && dict->item[i].key != key)
        i++;
    return i;
}

static void cut(struct model *model, struct model_object *object, uint32_t index, uint32_t n)
{
    for (uint32_t i = index; i < index + n; i++)
        drop_value(model, &object->item[i].value);
    memmove(object->item + index, object->item + index + n,
            (object->count - index - n) * sizeof *object->item);
    object->count -= n;
}

void action_model(struct model *model, const struct action *a)
{
    struct model_object *object = &model->object[a->object];
    struct model_value old;
    uint32_t at;
    if (a->kind == ACT_SET || a->kind == ACT_INSERT || a->kind == ACT_PUT)
        if (pms_tag_is_object(a->value.tag)) {
            struct model_object *child = &model->object[a->value.num];
            child->tag = a->value.tag;
            child->refs++;
        }
    switch (a->kind) {
    case ACT_SET:
        at = find_key(object, a->key);
        if (at == object->count) {
            CHECK(object->count < MODEL_ITEMS);
            object->item[object->count++] = (struct model_item){a->key, a->value};
            break;
        }
        old = object->item[at].value;
        object->item[at].value = a->value;
        drop_value(model, &old);
        break;
    case ACT_DEL:
        cut(model, object, find_key(object, a->key), 1);
        break;
    case ACT_POP:
        cut(model, object, object->count - 1, 1);
        break;
    case ACT_INSERT:
        CHECK(object->count < MODEL_ITEMS);
        memmove(object->item + a->index + 1, object->item + a->index,
                (object->count - a->index) * sizeof *object->item);
        object->item[a->index] = (struct model_item){0, a->value};
        object->count++;
        break;
    case ACT_PUT:
        old = object->item[a->index].value;
        object->item[a->index].value = a->value;
        drop_value(model, &old);
        break;
    case ACT_CUT:
        cut(model, object, a->index, a->count);
        break;
    case ACT_CLEAR:
        cut(model, object, 0, object->count);
        break;
    case ACT_SWAP:
        old = object->item[a->index].value;
        object->item[a->index].value = object->item[a->count].value;
        object->item[a->count].value = old;
        break;
    case ACT_REVERSE:
        for (uint32_t i = 0, k = object->count; i + 1 < k; i++) {
            k--;
            old = object->item[i].value;
            object->item[i].value = object->item[k].value;
            object->item[k].value = old;
        }
        break;
    }
}

/* ---- random actions ---- */

static void draw_value(const struct model *model, uint64_t *dice, const struct profile *p,
                       uint32_t object, struct action *a)
{
    struct model_value *value = &a->value;
    uint32_t what = dice_below(dice, 1000);
    *value = (struct model_value){PMS_TAG_BYTES, 0, dice_roll(dice)};
    if (what < 60 && object + 1 < MODEL_OBJECTS) { /* a container, new or known */
        uint32_t number = object + 1 + dice_below(dice, MODEL_OBJECTS - object - 1);
        const struct model_object *child = &model->object[number];
        a->create = child->tag == 0;
        value->tag =
            a->create ? (dice_below(dice, 2) ? PMS_TAG_DICT : PMS_TAG_LIST) : child->tag;
        value->num = number;
        return;
    }
    what = dice_below(dice, 1000);
    if (what < p->large)
        value->len = 65000 + dice_below(dice, 40000);
    else if (what < p->large + p->run)
        value->len = 30000 + dice_below(dice, 9000);
    else if (what < p->large + p->run + p->blob)
        value->len = 1025 + dice_below(dice, 3000);
    else if (what < 450)
        *value = (struct model_value){PMS_TAG_INT, 0, dice_roll(dice)};
    else if (what < 480)
        *value = (struct model_value){PMS_TAG_FLOAT, 0, dice_roll(dice)};
    else if (what < 500)
        *value = (struct model_value){PMS_TAG_NONE + dice_below(dice, 3), 0, 0};
    else
        value->len = dice_below(dice, what < 800 ? 100 : what < 950 ? 12 : 1024);
    if (value->tag == PMS_TAG_BYTES)
        value->tag = PMS_TAG_STR + dice_below(dice, 4);
}

static void draw_dict(const struct model *model, uint64_t *dice, const struct profile *p,
                      struct action *a)
{
    const struct model_object *dict = &model->object[a->object];
    a->key = dice_below(dice, p->keys);
    int there = find_key(dict, a->key) < dict->count;
    uint32_t what = dice_below(dice, 100);
    if (what < 2)
        a->kind = ACT_CLEAR;
    else if (dict->count && what < 6)
        a->kind = ACT_POP;
    else if (there && what < 45)
        a->kind = ACT_DEL;
    else {
        a->kind = ACT_SET;
        if (!there && dict->count == MODEL_ITEMS)
            a->key = dict->item[0].key;
        draw_value(model, dice, p, a->object, a);
    }
}

static void draw_list(const struct model *model, uint64_t *dice, const struct profile *p,
                      struct action *a)
{
    const struct model_object *list = &model->object[a->object];
    uint32_t what = dice_below(dice, 100), n = list->count;
    if (n == 0 || (what < 50 && n < MODEL_ITEMS)) {
        a->kind = ACT_INSERT;
        a->index = what < 25 ? n : dice_below(dice, n + 1);
        draw_value(model, dice, p, a->object, a);
        return;
    }
    a->index = dice_below(dice, n);
    a->count = 1;
    a->kind = ACT_CUT;
    if (what < 70) {
        a->kind = ACT_PUT;
        draw_value(model, dice, p, a->object, a);
    } else if (what < 76) {
        a->count = 1 + dice_below(dice, n - a->index);
    } else if (what < 80) {
        a->kind = ACT_SWAP;
        a->count = dice_below(dice, n);
    } else if (what < 82) {
        a->kind = ACT_REVERSE;
    } else if (what < 84) {
        a->kind = ACT_CLEAR;
    }
}

void action_draw(const struct model *model, uint64_t *dice, const struct profile *profile,
                 struct action *out)
{
    uint32_t object = 0;
    for (int tries = 0; tries < 4; tries++) {
        uint32_t number = dice_below(dice, MODEL_OBJECTS);
        if (model->object[number].tag)
            object = number;
    }
    *out = (struct action){.object = object};
    if (model->object[object].tag == PMS_TAG_DICT)
        draw_dict(model, dice, profile, out);
    else
        draw_list(model, dice, profile, out);
}

/* ---- the pool ---- */

static int pool_value(struct pms_pool *pool, const struct model *model, const struct action *a,
                      struct pms_val *out, uint64_t *made)
{
    *out = (struct pms_val){.tag = a->value.tag, .num = a->value.num, .len = a->value.len};
    if (pms_tag_is_bytes(a->value.tag)) {
        out->num = 0;
        out->data = value_bytes(&a->value);
    } else if (a->create) {
        PMS_TRY(pms_object_create(pool, a->value.tag, made));
        out->num = *made;
    } else if (pms_tag_is_object(a->value.tag)) {
        out->num = model->object[a->value.num].off;
    }
    return PMS_OK;
}

static int run(struct pms_pool *pool, const struct model *model, const struct action *a,
               struct pms_key key, void *room, uint64_t *made)
{
    const struct model_object *object = &model->object[a->object];
    struct pms_val value = {0};
    uint64_t entry = 0;
    if (key.data)
        key.data = memcpy((uint8_t *)room + VALUE_MAX, key.data, key.len);
    if (key.stored)
        key.stored = memcpy((uint8_t *)room + VALUE_MAX + KEY_MAX, key.stored, key.stored_len);
    if (a->kind == ACT_SET || a->kind == ACT_INSERT || a->kind == ACT_PUT)
        PMS_TRY(pool_value(pool, model, a, &value, made));
    if (value.data)
        value.data = memcpy(room, value.data, value.len);
    switch (a->kind) {
    case ACT_SET:
        return pms_dict_set(pool, object->off, &key, &value);
    case ACT_DEL:
        return pms_dict_del(pool, object->off, &key);
    case ACT_POP:
        PMS_TRY(pms_dict_prev(pool, object->off, &entry));
        return pms_dict_del_entry(pool, object->off, entry);
    case ACT_INSERT:
        return a->index == object->count ? pms_list_append(pool, object->off, &value)
                                         : pms_list_insert(pool, object->off, a->index, &value);
    case ACT_PUT:
        return pms_list_set(pool, object->off, a->index, &value);
    case ACT_CUT:
        return a->count == 1 ? pms_list_del(pool, object->off, a->index)
                             : pms_list_del_range(pool, object->off, a->index, a->count);
    case ACT_CLEAR:
        return object->tag == PMS_TAG_DICT ? pms_dict_clear(pool, object->off)
                                           : pms_list_clear(pool, object->off);
    case ACT_SWAP:
        return pms_list_swap(pool, object->off, a->index, a->count);
    default:
        return pms_list_reverse(pool, object->off);
    }
}

/* The operation may fence, and then other worlds run: their values must not be in its way. */
int action_pool(struct pms_pool *pool, const struct model *model, const struct action *a,
                uint64_t *made)
{
    void *room = malloc(VALUE_MAX + 2 * KEY_MAX);
    CHECK(room != NULL);
    int status = run(pool, model, a, key_of(a->key), room, made);
    free(room);
    return status;
}

const char *action_name(const struct action *a)
{
    static const char *const names[] = {"dict set",    "dict del",  "dict pop",
                                        "list insert", "list set",  "list cut",
                                        "clear",       "list swap", "list reverse"};
    return names[a->kind];
}

/* ---- writing down ---- */

void text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}

static void add(struct text *text, const void *bytes, size_t len)
{
    if (text->len + len > text->room) {
        text->room = (text->len + len) * 2;
        text->bytes = realloc(text->bytes, text->room);
        CHECK(text->bytes != NULL);
    }
    if (len)
        memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void add_word(struct text *text, uint64_t word) { add(text, &word, 8); }

static void add_scalar(struct text *text, uint32_t tag, uint64_t num, const void *data,
                       uint64_t len)
{
    add_word(text, tag);
    if (is_number(tag)) {
        add_word(text, num);
    } else if (pms_tag_is_bytes(tag)) {
        add_word(text, len);
        add(text, data, len);
    }
}

static void write_object(const struct model *model, uint64_t number, struct text *out)
{
    const struct model_object *object = &model->object[number];
    add_word(out, object->tag);
    add_word(out, object->count);
    for (uint32_t i = 0; i < object->count; i++) {
        const struct model_item *item = &object->item[i];
        if (object->tag == PMS_TAG_DICT) {
            struct pms_key key = key_of(item->key);
            struct pms_val found = key_val(&key);
            add_scalar(out, found.tag, found.num, found.data, found.len);
        }
        if (pms_tag_is_object(item->value.tag))
            write_object(model, item->value.num, out);
        else
            add_scalar(out, item->value.tag, item->value.num, value_bytes(&item->value),
                       item->value.len);
    }
}

void model_write(const struct model *model, struct text *out)
{
    out->len = 0;
    write_object(model, 0, out);
}

static int write_cell(struct pms_pool *pool, const struct pms_val *value, struct text *out);

static int write_dict(struct pms_pool *pool, uint64_t dict, struct text *out)
{
    uint64_t entry = 0;
    struct pms_val key, value;
    add_word(out, PMS_TAG_DICT);
    add_word(out, pms_dict_len(pool, dict));
    for (;;) {
        PMS_TRY(pms_dict_next(pool, dict, &entry));
        if (entry == 0)
            return PMS_OK;
        PMS_TRY(pms_dict_entry(pool, entry, &key, NULL));
        add_scalar(out, key.tag, key.num, key.data, key.len);
        PMS_TRY(pms_dict_entry(pool, entry, NULL, &value));
        PMS_TRY(write_cell(pool, &value, out));
        if (out->len > 64u << 20)
            return PMS_FAIL(PMS_E_CORRUPT, "a dict without end", dict, 0, out->len);
    }
}

static int write_list(struct pms_pool *pool, uint64_t list, struct text *out)
{
    uint64_t count = pms_list_len(pool, list);
    struct pms_val value;
    add_word(out, PMS_TAG_LIST);
    add_word(out, count);
    for (uint64_t i = 0; i < count; i++) {
        PMS_TRY(pms_list_get(pool, list, i, &value));
        PMS_TRY(write_cell(pool, &value, out));
    }
    return PMS_OK;
}

static int write_cell(struct pms_pool *pool, const struct pms_val *value, struct text *out)
{
    if (value->tag == PMS_TAG_DICT)
        return write_dict(pool, value->num, out);
    if (value->tag == PMS_TAG_LIST)
        return write_list(pool, value->num, out);
    add_scalar(out, value->tag, value->num, value->data, value->len);
    return PMS_OK;
}

int pool_write(struct pms_pool *pool, struct text *out)
{
    out->len = 0;
    uint64_t root = pms_get(pool, PMS_ROOT_OFF + offsetof(struct pms_root_pm, root));
    PMS_TRY(pms_object_check(pool, root, PMS_TAG_DICT));
    return write_dict(pool, root, out);
}

/* ---- where the objects are ---- */

static int locate(struct pms_pool *pool, struct model *model, uint64_t number, uint64_t off)
{
    struct model_object *object = &model->object[number];
    uint64_t entry = 0;
    object->off = off;
    for (uint32_t i = 0; i < object->count; i++) {
        struct pms_val value;
        if (object->tag == PMS_TAG_LIST) {
            PMS_TRY(pms_list_get(pool, off, i, &value));
        } else {
            PMS_TRY(pms_dict_next(pool, off, &entry));
            PMS_TRY(pms_dict_entry(pool, entry, NULL, &value));
        }
        if (pms_tag_is_object(object->item[i].value.tag))
            PMS_TRY(locate(pool, model, object->item[i].value.num, value.num));
    }
    return PMS_OK;
}

int model_locate(struct pms_pool *pool, struct model *model)
{
    return locate(pool, model, 0,
                  pms_get(pool, PMS_ROOT_OFF + offsetof(struct pms_root_pm, root)));
}
