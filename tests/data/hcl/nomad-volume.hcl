id           = "postgres"
name         = "postgres"
type         = "csi"
plugin_id    = "org.democratic-csi.nfs"
capacity_min = "10GiB"
capacity_max = "30G"

capability {
  access_mode     = "single-node-writer"
  attachment_mode = "file-system"
}
capability {
  access_mode     = "multi-node-reader-only"
  attachment_mode = "file-system"
}
mount_options {
  fs_type     = "nfs"
  mount_flags = ["vers=4.1", "rw"]
}
secrets { password = "@NFS_PASSWORD@" }
parameters { skuname = "Premium_LRS" }
context {
  server = "nfs1"
  share  = "/export/postgres"
}
