# Straße, naïve, 日本語 – comments may hold anything
node_name  = "münchen-01"
datacenter = "zurich" # Zürich
node_meta {
  ort        = "Genève – bâtiment 513"
  "straße.1" = "Route de Meyrin"
  emoji      = "🚚 \U0001F69A \u00e9"
}
service {
  name = "größe" # ü
  tags = ["größe", "ß", "日本"]
}
