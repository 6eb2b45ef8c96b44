# Turns the parts of a NoCloud network-config (versions 1 and 2, YAML or JSON) that describe the first
# interface into shell assignments: address=A/P gateway=G mac=M dhcp=yes|no.

# Count the ones of a dotted netmask.
function prefix(mask,    parts, bits, i, n) {
  split(mask, parts, "."); bits = 0
  for (i = 1; i <= 4; i++) for (n = parts[i] + 0; n > 0; n = int(n / 2)) bits += n % 2
  return bits
}
function is_address(word) { return word ~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(\/[0-9]+)?$/ }

{
  sub(/(^|[ \t])#.*/, "")
  gsub(/"[ \t]*:/, ": "); gsub(/'[ \t]*:/, ": ")
  gsub(/[][{},"']/, " ")
  gsub(/(^|[ \t])-[ \t]/, " ")
  for (i = 1; i <= NF; i++) {
    word = $i
    if (word ~ /:$/) { key = substr(word, 1, length(word) - 1); continue }
    if ((key == "addresses" || key == "address") && is_address(word)) {
      # Name servers are listed as addresses too, but never with a prefix.
      if (address == "" && (word ~ /\// || key == "address")) address = word
    }
    else if (key == "netmask" && netmask == "") netmask = word
    else if ((key == "gateway4" || key == "gateway" || key == "via") && gateway == "" && is_address(word)) gateway = word
    else if ((key == "macaddress" || key == "mac_address") && mac == "") mac = tolower(word)
    else if (key == "dhcp4" && (word == "true" || word == "yes" || word == "on")) dhcp = "yes"
    else if (key == "type" && word ~ /^dhcp4?$/) dhcp = "yes"
  }
}

END {
  if (address != "" && address !~ /\//) address = address "/" (netmask ~ /\./ ? prefix(netmask) : (netmask != "" ? netmask : 24))
  printf "address='%s' gateway='%s' mac='%s' dhcp=%s\n", address, gateway, mac, (dhcp != "" ? dhcp : "no")
}
