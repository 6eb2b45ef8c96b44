"""What a VMware estate holds, and what taking each of its VMs in would need; read-only, always.

`reading` opens an export, `vsphere` asks an ESX or vCenter; both make an `Estate` of
`inventory`.  `judging` says VM by VM what stands in the way, `waves` proposes an order.
"""
