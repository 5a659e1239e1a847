"quoted" = "a"
"with space" = "b"
"with.dot" { "inner key" = "c" }
block "a label with \"quotes\"" "and \\ another" {
  x = "tab\tnewline\nreturn\rquote\"backslash\\ \u00e9 \U0001F600"
}
hcl1.dotted.name = "d"
block identifier "string" { }
"block" "all" "quoted" { y = "" }
interpolated = "a ${b("c", "d ${e} f")} g"
braces = "${ {a = "}"}["a"] }"
dollars = "$ $$ $x ${y}$ $${z} %{if a}x%{endif} %% %%{q}"
go = "{{ GetAllInterfaces | exclude \"name\" \"docker.*\" | sort \"+address\" | limit 1 | attr \"address\" }}"
