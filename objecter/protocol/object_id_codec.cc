// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/object_id_codec.h"

namespace lunar::objecter {

void put_object_id(ByteWriter& w, const ObjectId& id) {
  w.put(id.pool);
  w.put_string(id.name);
}

ObjectId get_object_id(ByteReader& r) {
  ObjectId id;
  id.pool = r.get<PoolId>();
  id.name = r.get_string(ObjectId::kMaxNameBytes);
  if (id.pool == 0 || !is_valid_object_name(id.name)) r.mark_bad();
  return id;
}

}  // namespace lunar::objecter
