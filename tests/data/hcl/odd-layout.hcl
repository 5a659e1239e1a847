client{enabled=true}
server
{
  enabled = false
}
a=1
b= 2
c =3
    indented = true
list=[1,2,
3,
  4 , 5]
ports{http=1
rpc=2}
trailing = "blanks"   
block "x"
{
 y =
   "on the next line"
}
two = 1 three = 2
d { e = 1 } f { g = 2 }
h = {i = 1,j = 2,
k = 3}
