plain = <<EOF
first
  second { "not a block" }
EOF

indented = <<-EOT
	tab
	  more
	EOT
empty = <<X
X
with_marker_inside = <<END
END of the story is not the end
 ENDING
END
unbalanced = <<BRACES
}}}} ]] ((
# no comment
"no quote
BRACES
list = [<<A
one
A
  , <<B
two
B
]
after = "still read"
nested {
  script = <<-SH
    #!/bin/sh
    set -eu
    cat <<EOF
    inner
    EOF
    SH
  mode = 0755
}
