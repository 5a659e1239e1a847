# Makes the C table of a product's endpoints from its .tsv, the one place where they are written:
#
#     awk -f bindings/rows.awk bindings/consul.tsv >build/generated/consul_rows.h
#
# Columns, separated by tabs, named in the first line (api.h says what each means):
#   group name method path query body returns blocking since effect answers secret doc
# {mount=NAME} in a path: the mount is an option, NAME its default. A row that is not well formed ends the build.
BEGIN { FS = "\t" }

function fail(why) {
    printf "%s:%d: %s\n", FILENAME, FNR, why >"/dev/stderr"
    failed = 1
    exit 1
}

function quoted(text) {
    gsub(/[\\"]/, "\\\\&", text)
    return "\"" text "\""
}

function member(name, text) {
    return "." name " = " text ", "
}

FNR == 1 {
    if ($0 != "group\tname\tmethod\tpath\tquery\tbody\treturns\tblocking\tsince\teffect\tanswers\tsecret\tdoc")
        fail("the first line does not name the columns")
    effects["read"] = "API_READ"
    effects["change"] = "API_CHANGE"
    effects["creates"] = "API_CREATES"
    print "/* Made from " FILENAME " by rows.awk. */"
    print "static const struct api_row rows[] = {"
    next
}

{
    if (NF != 13)
        fail(NF " columns, not 13")
    if (!($10 in effects))
        fail("the effect " $10 " is none of read, change, creates")
    if ($7 !~ /^(json|none|text|raw|stream|websocket)$/)
        fail("returns " $7)
    if ($8 !~ /^(yes|no)$/)
        fail("blocking is yes or no")
    if ($1 == "" || $2 == "" || $4 !~ /^\// || $13 == "")
        fail("group, name, path and doc are needed")
    if ($10 == "read" && $3 !~ /^(GET|LIST|HEAD|POST)$/)
        fail($3 " is no read")
    lua = $1 "." $2
    gsub(/-/, "_", lua)
    if (lua in seen)
        fail(lua " is there twice")
    seen[lua] = 1

    path = $4
    mount = ""
    if (match(path, /\{mount=[^}]*\}/)) {
        mount = substr(path, RSTART + 7, RLENGTH - 8)
        path = substr(path, 1, RSTART - 1) "{mount}" substr(path, RSTART + RLENGTH)
    }
    print "    {" member("group", quoted($1)) member("name", quoted($2)) member("method", quoted($3)) \
        member("path", quoted(path)) member("mount", quoted(mount)) member("query", quoted($5)) \
        member("body", quoted($6)) member("returns", quoted($7)) member("blocking", $8 == "yes" ? "true" : "false") \
        member("since", quoted($9)) member("effect", effects[$10]) member("answers", quoted($11)) \
        member("secret", quoted($12)) member("doc", quoted($13)) "},"
}

END {
    if (!failed)
        print "    {0},\n};"
}
