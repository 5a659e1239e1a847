"""Purpose: identity, the little of it that tokens lead to: entities, their aliases and policies."""

import uuid

import duration
from backend import Answer, Backend, Path, keys, strings
from failure import refuse
from fields import Field
from policy import Rule

ENTITY = {**strings("id", "name"), "metadata": Field("pairs"), "policies": Field("words"), "disabled": Field("bool")}


class Entity:
    def __init__(self, name=None):
        self.id, self.aliases = str(uuid.uuid4()), []
        self.name = name or f"entity_{self.id.split('-')[0]}"
        self.metadata, self.policies, self.disabled = None, None, False
        self.made = self.updated = duration.now()

    def told(self):
        return {"id": self.id, "name": self.name, "metadata": self.metadata, "policies": self.policies,
                "disabled": self.disabled, "aliases": [one.told() for one in self.aliases], "namespace_id": "root",
                "creation_time": duration.stamp(self.made), "last_update_time": duration.stamp(self.updated),
                "merged_entity_ids": None, "direct_group_ids": [], "inherited_group_ids": [], "group_ids": []}


class Alias:
    def __init__(self, name, mount, entity):
        self.id, self.name, self.mount, self.entity = str(uuid.uuid4()), name, mount, entity
        self.made = duration.now()

    def told(self):
        return {"id": self.id, "name": self.name, "canonical_id": self.entity.id, "metadata": None,
                "mount_accessor": self.mount.accessor, "mount_path": self.mount.path, "mount_type": self.mount.kind,
                "creation_time": duration.stamp(self.made), "last_update_time": duration.stamp(self.made),
                "merged_from_canonical_ids": None}

    def brief(self):
        names = ("id", "name", "mount_accessor", "mount_path", "mount_type")
        return {name: value for name, value in self.told().items() if name in names}


class Identity(Backend):
    def __init__(self, core):
        super().__init__()
        self.core, self.entities = core, {}
        self.paths = [
            Path("entity", {"update": self.write}, ENTITY),
            Path("entity/id/?", {"list": self.list_ids}),
            Path("entity/name/?", {"list": self.list_names}),
            Path("entity/name/{name+}", {"read": self.read_name, "update": self.write_name,
                                         "delete": self.delete_name}, ENTITY),
            Path("entity/id/{id}", {"read": self.read_id, "update": self.write_id, "delete": self.delete_id}, ENTITY),
            Path("lookup/entity", {"update": self.look_up},
                 strings("id", "name", "alias_id", "alias_name", "alias_mount_accessor"))]

    # --- what the core asks ----------------------------------------------------------------------

    def of_alias(self, name, mount):
        """The id of the entity that NAME of a method stands for; a new one the first time."""
        for entity in self.entities.values():
            if any(one.name == name and one.mount is mount for one in entity.aliases):
                return entity.id
        entity = Entity()
        entity.aliases.append(Alias(name, mount, entity))
        self.entities[entity.id] = entity
        return entity.id

    def policies_of(self, ident):
        return list(self.entities[ident].policies or []) if ident in self.entities else []

    def filled_in(self, ident, rules):
        """Rules with {{identity.entity.id}} and its like filled in; those that cannot be are left out."""
        entity, found = self.entities.get(ident), []
        for rule in rules:
            path = rule.path
            if entity:
                path = path.replace("{{identity.entity.id}}", entity.id)
                path = path.replace("{{identity.entity.name}}", entity.name)
            if "{{" in path:
                continue
            copy = Rule(path)
            vars(copy).update({**vars(rule), "path": path})
            found.append(copy)
        return found

    # --- entities --------------------------------------------------------------------------------

    def by_name(self, name):
        return next((one for one in self.entities.values() if one.name.lower() == name.lower()), None)

    def store(self, entity, given):
        new = entity is None
        entity = entity or Entity(given["name"])
        entity.name = given["name"] or entity.name
        entity.metadata = given.get("metadata", entity.metadata)
        if given.has("policies"):
            entity.policies = sorted({one.lower() for one in given["policies"] if one})
        entity.disabled = given.get("disabled", entity.disabled)
        entity.updated = duration.now()
        self.entities[entity.id] = entity
        return Answer({"id": entity.id, "name": entity.name, "aliases": None}) if new else None

    def write(self, request, given):
        entity = self.entities.get(given["id"]) if given["id"] else self.by_name(given["name"])
        if given["id"] and not entity:
            refuse("invalid entity ID")
        return self.store(entity, given)

    def write_name(self, request, given):
        return self.store(self.by_name(given["name"]), given)

    def write_id(self, request, given):
        if given["id"] not in self.entities:
            refuse("invalid entity ID")
        return self.store(self.entities[given["id"]], given)

    def told(self, entity):
        return Answer(entity.told()) if entity else None

    def read_name(self, request, given):
        return self.told(self.by_name(given["name"]))

    def read_id(self, request, given):
        return self.told(self.entities.get(given["id"]))

    def delete_name(self, request, given):
        entity = self.by_name(given["name"])
        self.entities.pop(entity.id if entity else None, None)

    def delete_id(self, request, given):
        self.entities.pop(given["id"], None)

    def list_ids(self, request, given):
        found = keys(sorted(self.entities))
        if found.data:
            found.data["key_info"] = {one.id: {"name": one.name, "aliases": [alias.brief() for alias in one.aliases]}
                                      for one in self.entities.values()}
        return found

    def list_names(self, request, given):
        return keys([one.name for one in reversed(self.entities.values())])

    def look_up(self, request, given):
        found = self.entities.get(given["id"]) or (self.by_name(given["name"]) if given["name"] else None)
        for entity in self.entities.values():
            for one in entity.aliases:
                if one.id == given["alias_id"] or (one.name, one.mount.accessor) == \
                        (given["alias_name"], given["alias_mount_accessor"]):
                    found = found or entity
        if not any(given[name] for name in ("id", "name", "alias_id", "alias_name")):
            refuse("query parameter not supplied")
        return self.told(found)
