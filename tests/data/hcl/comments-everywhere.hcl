/* one */ # two
// three
a /* before the sign */ = /* after it */ 1 /* behind */ # and last
b = [ # in a list
  1, // one
  /* two */ 2, /* comma before */
  3 /* no comma */
  # the end
]
c /* label follows */ "l" /* brace follows */ { # opened
  # alone
  d = "x" // string
  /*
   * of several lines }
   */
} # closed
e = { /* empty */ }
f {
  # nothing but this
}
/**/
g = "# no comment /* nor this */ // nor this"
h = 1 # "quote
# the end, without a newline